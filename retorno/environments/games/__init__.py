"""Games: blackjack, tic-tac-toe, and those on boards and with dice that two play in turn, or one against chance."""
