"""Games: blackjack, tic-tac-toe."""
