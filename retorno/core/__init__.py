"""The nouns: models, rows, worlds, policies. Imports nothing else of retorno."""
