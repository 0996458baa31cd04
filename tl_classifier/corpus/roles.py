"""Words that say what somebody does in an interview, in the languages that transcripts often come in.

They stand where a name would: "Interviewer: And then?", "Befragte 2: Nothing."
"""

from __future__ import annotations

from typing import Final

_ASKING = """
facilitator host interviewer moderator researcher
forscher forscherin interviewerin moderatorin
entrevistador entrevistadora moderador moderadora
animateur animatrice enquêteur enquêtrice intervieweur intervieweuse
intervistatore intervistatrice moderatore moderatrice
badacz badaczka haastattelija intervjuare intervjuer moderatorka onderzoeker prowadząca prowadzący
"""

_ANSWERING = """
interviewee participant respondent
befragte befragter teilnehmende teilnehmer teilnehmerin
entrevistada entrevistado participante respondente
enquêté enquêtée interviewé interviewée
intervistata intervistato partecipante
deelnemer deltagare deltaker haastateltava interviewperson intervjuperson respondentka
"""

ASKING: Final = frozenset(_ASKING.split())
"""Words for those who ask."""

ROLES: Final = ASKING | frozenset(_ANSWERING.split()) | {"coach", "speaker", "sprecher", "sprecherin", "tutor"}
"""Words for those who ask, answer, or speak. Hardly any of them begins a sentence before a colon."""
