"""What a release goes through: artefacts, the smoke test of a consumer, and the checks around them.

``python -m tools.release smoke``, ``check`` and ``prepare VERSION``; CONTRIBUTING.md says when.
"""
