"""Bodies of requests and answers. These models are what OpenAPI shows; they check requests, and describe answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_NAME = 1_000
"""Longest id, document and speaker, in Unicode code points."""

Name = Annotated[str, Field(max_length=MAX_NAME)]
Codes = dict[str, list[str]]


def _whole(value: object) -> object:
    """JSON has one kind of number: 12.0, which tables with gaps make of 12, is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Turn = Annotated[int, Field(ge=0, le=2**53), BeforeValidator(_whole)]


class ExcerptIn(BaseModel):
    """An excerpt to be coded; all but `text` is only given back with its record."""

    model_config = ConfigDict(strict=True, extra="forbid", title="Excerpt")

    id: Name | None = Field(default=None, description="Your own identifier.")
    text: str = Field(
        description="The words, as they stand in the transcript: a letter or a digit at least, beside what is no talk, "
        "such as timecodes and speaker labels.",
        # Shown only: whether there is something to code is decided by the preprocessing, after cleaning.
        json_schema_extra={"minLength": 1},
    )
    document: Name | None = Field(default=None, description="The transcript that the excerpt comes from.")
    speaker: Name | None = Field(default=None, description="Who speaks.")
    turn: Turn | None = Field(default=None, description="Number of the turn in its document; the first is 1.")


class ClassifyRequest(BaseModel):
    """Excerpts to be coded."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "excerpts": [
                        {
                            "id": "a",
                            "text": "I had always taken it for granted that I was no good at this. That week I "
                            "began to ask myself where I had got that idea from.",
                            "document": "P03.txt",
                            "speaker": "P03",
                            "turn": 14,
                        },
                        {"id": "b", "text": "We had lunch at one and went on afterwards."},
                    ]
                }
            ]
        },
    )

    excerpts: list[ExcerptIn]


class ModelName(BaseModel):
    """The model that gave an answer."""

    name: str
    version: str
    codebook: str = Field(description="Name of its codebook.")
    codebook_version: str


class ModelCard(ModelName):
    """The model and what its bundle says of it."""

    codebook_fingerprint: str = Field(description="Changes where dimensions, codes or their order do.")
    info: dict[str, Any] = Field(description="From the bundle: base model, metrics, when and of what it was trained.")


class Record(BaseModel):
    """What the model says of one excerpt."""

    id: str | None
    document: str | None
    speaker: str | None
    turn: int | None
    codes: Codes = Field(description="By dimension, the codes given, in codebook order; none is an answer.")
    groups: Codes = Field(description="By dimension, the groups of these codes.")
    probabilities: dict[str, dict[str, float]] = Field(description="By dimension and code, the calibrated probability.")
    model: str = Field(description="name@version of the model.")


class ClassifyResponse(BaseModel):
    """A record for each excerpt, in the order of the request."""

    model: ModelName
    predictions: list[Record]


class Health(BaseModel):
    """State of the server."""

    status: str


class Place(BaseModel):
    """A place in the body that is not right."""

    pointer: str = Field(description="JSON pointer (RFC 6901) to it, as a URI fragment.")
    detail: str


class ProblemDetails(BaseModel):
    """An error, after RFC 9457. It never quotes what was sent."""

    type: str = Field(description="URI that identifies the kind of problem.")
    title: str
    status: int
    detail: str = Field(description="One sentence on this occurrence.")
    instance: str = Field(description="URN of the request; the server's log has it as request.")
    errors: list[Place] = Field(default=[], description="What is not right in the body, at most 100 places.")
