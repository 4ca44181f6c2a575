"""The attacks by id, with what users need to know and may set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from utils.attacks.cw import carlini_wagner
from utils.attacks.norm_ball import bim, bim_l1, bim_l2, fgsm, pgd


@dataclass(frozen=True)
class Attack:
    """One attack: how it is called, what it bounds, where it comes from.

    `options` gives, for each option of `function`, the name under which users set it.
    """

    id: str
    name: str
    norm: str
    reference: str
    function: Callable[..., np.ndarray]
    options: Mapping[str, str]


_BALL = {"eps": "epsilon", "steps": "steps", "batch_size": "batch_size"}
ATTACKS: dict[str, Attack] = {
    attack.id: attack
    for attack in (
        Attack(
            "fgsm", "FGSM", "Linf", "Goodfellow et al., ICLR 2015", fgsm,
            {"eps": "epsilon", "batch_size": "batch_size"},
        ),
        Attack("bim", "BIM", "Linf", "Kurakin et al., ICLR 2017 workshop", bim, _BALL),
        Attack("pgd", "PGD", "Linf", "Madry et al., ICLR 2018", pgd, {**_BALL, "seed": "seed"}),
        Attack(
            "cw", "Carlini-Wagner", "L2", "Carlini, Wagner, IEEE S&P 2017", carlini_wagner,
            {
                "steps": "cw_steps",
                "binary_search_steps": "cw_binary_search_steps",
                "confidence": "cw_confidence",
                "batch_size": "batch_size",
            },
        ),
        Attack("bim_l1", "BIM (L1)", "L1", "Rauber et al., foolbox, 2017", bim_l1, _BALL),
        Attack("bim_l2", "BIM (L2)", "L2", "Rauber et al., foolbox, 2017", bim_l2, _BALL),
    )
}  # fmt: skip
"""Attack id -> attack. A new attack is a function and an entry here."""
