"""The arithmetic of one token, for plans and for comparisons with a machine's limit."""


def attention_flops(*, width: int, length: int) -> int:
    """Return one layer's operations for one token's scores and weighted sum in a sequence of this length."""
    return 4 * width * length


def linear_flops(*sizes: tuple[int, int]) -> int:
    """Return the operations of one token through matrices of these (in, out) sizes."""
    return sum(2 * rows * columns for rows, columns in sizes)
