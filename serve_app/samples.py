"""The sample lessons that a newcomer can ask questions of."""

from deployments.settings import ROOT

FOLDER = ROOT / "samples" / "curriculum"
COLLECTION = "curriculum"
INGESTED = "samples_ingested"
"""File in PENSTOCK_HOME that says they were ingested: later starts leave the collection as the user has it."""

FIRST_QUESTION = "Why is there no sound in a vacuum?"
