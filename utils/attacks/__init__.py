"""Adversarial attacks on image classifiers: FGSM, BIM, PGD and Carlini-Wagner.

All take ``(model, images, labels)``: a Keras classifier, images float32 (n, height, width,
channels) in [0, 1] and the true labels, int (n,); all return adversarial images of the same shape
in the same order, whether or not they fool the model. They are untargeted and white-box, work on
the logits (`utils.networks.ends.logits_of`) and leave the model as it is. An image's result does
not depend on the images that share its batch, apart from rounding: it depends on its own values and
label, for `pgd` also on the seed and on its position among the images, which decide its start.

Those that judge how robust a network is are in modules of their own: `utils.attacks.apgd`,
`utils.attacks.square`, which is black-box, and the worst case over an ensemble of all,
`utils.attacks.ensemble`, with what makes it doubtful, `utils.attacks.doubts`.

Imports core, data, machine and networks. These four are what others call; all else is imported from
its module.
"""

from utils.attacks.cw import carlini_wagner
from utils.attacks.norm_ball import bim, fgsm, pgd

__all__ = ["bim", "carlini_wagner", "fgsm", "pgd"]
