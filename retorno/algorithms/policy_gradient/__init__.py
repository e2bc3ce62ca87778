"""Policy gradients without a critic."""
