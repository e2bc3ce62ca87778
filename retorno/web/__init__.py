"""Pages in a browser, in one frame: answers are ranked, demonstrations written, models chatted with.

They are served to this machine alone, to whoever has the token; nothing is fetched from elsewhere.
"""

from retorno.web.answering import Answering, Judge, Questions
from retorno.web.serving import Address, Served, serve
from retorno.web.site import Site

__all__ = ["Address", "Answering", "Judge", "Questions", "Served", "Site", "serve"]
