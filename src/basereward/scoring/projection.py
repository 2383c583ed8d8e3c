"""A random projection of wide states onto few numbers, which keeps distances."""

import numpy as np


def draw_projection(width: int, dimensions: int, seed: int) -> np.ndarray:
    """Return a random matrix ``P`` of shape (width, dimensions), its entries normal with variance 1 / dimensions.

    ``|x P|`` is ``|x|`` to a relative error of about ``sqrt(1 / (2 dimensions))``, for states and their differences.

    Source: Johnson and Lindenstrauss, Extensions of Lipschitz mappings into a Hilbert space, 1984.
    """
    normal = np.random.default_rng(seed).standard_normal((width, dimensions), dtype=np.float32)
    return normal / np.float32(np.sqrt(dimensions))
