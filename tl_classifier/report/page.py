"""The report as one HTML page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from tl_classifier import __version__
from tl_classifier.report.markup import Markup, element, trusted
from tl_classifier.report.parts import Report, Section, day, share
from tl_classifier.report.sections import all_sections


def html(report: Report) -> str:
    """The page.

    Its policy forbids everything but its own style sheet, so that even what slipped through the escaping could do
    nothing: no script, no request.
    """
    style = resources.files("tl_classifier.report").joinpath("report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    sections = all_sections(report)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"Coding report: {report.name}"),
        element("style", trusted(style)),
    )
    body = element(
        "body",
        _header(report, sections),
        element("main", [section.html() for section in sections]),
        element("footer", element("p", f"Made on {day(report.made)} with tl-classifier {__version__}.")),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _header(report: Report, sections: Sequence[Section]) -> Markup:
    models = ", ".join(name or "a model without a name" for name, _ in report.survey.models.most_common(5))
    about = [
        ("Coder", f"{models} (a model)"),
        ("Codebook", f"{report.codebook.name} {report.codebook.version}"),
        ("Scored file", report.name),
        ("Report made", day(report.made)),
    ]
    return element(
        "header",
        element("p", "Coding report", class_="kicker"),
        element("h1", report.name.rpartition(".")[0] or report.name),
        element("p", report.codebook.title, class_="lede"),
        element("dl", [[element("dt", term), element("dd", value)] for term, value in about], class_="about"),
        element(
            "ul",
            [element("li", element("b", number), element("span", what)) for number, what in _figures(report)],
            class_="figures",
        ),
        element(
            "nav",
            element("ol", [element("li", element("a", s.title, href=f"#{s.id}")) for s in sections]),
            aria_label="Sections of this report",
        ),
    )


def _figures(report: Report) -> list[tuple[str, str]]:
    """The size of the corpus, and how much of it carries anything."""
    survey = report.survey
    speakers = sum(speaker is not None for _, speaker in survey.speakers)
    figures = [
        _counted(len(survey.documents), "document", more=survey.documents.beyond > 0),
        _counted(speakers, "speaker", more=survey.speakers.beyond > 0),
        _counted(survey.total.excerpts, "excerpt", " coded"),
    ]
    for dimension in survey.used():
        if dimension.optional:
            rated = survey.rated[dimension.id]
            figures.append((share(rated - survey.none[dimension.id], rated), f"with a code of “{dimension.name}”"))
    unscored = survey.unscored.total()
    return [*figures, _counted(unscored, "row", " not coded")] if unscored else figures


def _counted(number: int, what: str, state: str = "", *, more: bool = False) -> tuple[str, str]:
    return f"{number:,}{'+' if more else ''}", f"{what}{'' if number == 1 else 's'}{state}"
