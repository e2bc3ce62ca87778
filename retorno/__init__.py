"""retorno: reinforcement learning with one set of concepts and answers you can check."""
