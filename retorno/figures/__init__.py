"""Figures and tables of the textbooks, repeated with intervals beside what is expected of them: `retorno figure`."""

from retorno.figures.registry import FIGURES, Entry

__all__ = ["FIGURES", "Entry"]
