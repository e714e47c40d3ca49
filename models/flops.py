"""How much arithmetic a token costs, for plans and for measuring against a machine's limit."""


def attention_flops(*, width: int, length: int) -> int:
    """Scores and weighted sum of one token in a sequence of this length, in one layer."""
    return 4 * width * length


def linear_flops(*sizes: tuple[int, int]) -> int:
    """One token through matrices of these (in, out) sizes."""
    return sum(2 * rows * columns for rows, columns in sizes)
