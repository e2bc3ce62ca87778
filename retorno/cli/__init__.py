"""The command `retorno`: one small file for each of its commands, built from the dataclasses' own fields."""
