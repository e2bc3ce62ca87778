"""The figures and tables of the textbooks, repeated with intervals beside the book's values: `retorno figure`."""

from retorno.figures.registry import FIGURES, Entry

__all__ = ["FIGURES", "Entry"]
