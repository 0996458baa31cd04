"""Bodies of requests and answers. These models are what OpenAPI shows; they check requests, and describe answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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
    context: str | None = Field(
        default=None,
        description="What it answers: the interviewer's words just before it. They help to understand the text, are "
        "never coded themselves, and do not come back.",
    )


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
    evidence: bool = Field(
        default=False,
        description="Say for each code given which passage carries it; that takes several times as long.",
    )
    precision: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Say for each code given whether it can be accepted unseen, so that this share of what is accepted "
        "is right, or is to be reviewed; one of the precisions that the model was fitted for, such as 0.9.",
    )


class ChangeModel(BaseModel):
    """Which model is to serve."""

    model_config = ConfigDict(
        strict=True, extra="forbid", json_schema_extra={"examples": [{"model": "interviews@2026.01.31-0f3c55aa"}]}
    )

    model: str = Field(
        min_length=1,
        max_length=MAX_NAME,
        description="A model of the server's registry: name@version, name for its newest version, or default for the "
        "one that ships. Where the server was started with TLC_ALLOW_MODEL_FOLDERS, a folder's absolute path too.",
    )


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
    evidence: dict[str, dict[str, tuple[int, int]]] | None = Field(
        default=None,
        description="Only where it was asked for. By dimension and code given, the passage without which the model is "
        "least sure, as offsets into the text in Unicode code points: of its first character, and one past its last.",
    )
    review: dict[str, dict[str, Literal["accepted", "to review"]]] | None = Field(
        default=None, description="Only where a precision was asked for. By dimension and code given."
    )


class ClassifyResponse(BaseModel):
    """A record for each excerpt, in the order of the request."""

    model: ModelName
    predictions: list[Record]


class Limits(BaseModel):
    """What the server takes."""

    request_bytes: int = Field(description="Largest body of a request, in bytes.")
    request_excerpts: int = Field(description="Most excerpts in a request.")
    excerpt_characters: int = Field(description="Longest excerpt, in Unicode code points.")
    line_bytes: int = Field(description="Longest line of a stream, in bytes.")
    stream_ahead_excerpts: int = Field(
        description="How many lines a stream takes in before any of its answers is taken. A client that sends its "
        "whole body before it reads must send no more in one stream."
    )
    stream_ahead_bytes: int = Field(description="How many bytes, likewise.")


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


class LineProblem(BaseModel):
    """Stands in a stream of records for a line that is not right, or says why the stream ends."""

    line: int = Field(description="Number of the line that was sent; the first is 1, and empty lines count.")
    problem: ProblemDetails
    ended: bool = Field(description="Whether the stream ends here: no line from this one on was coded.")
