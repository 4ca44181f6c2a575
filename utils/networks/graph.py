"""A network's graph: which operation gives a tensor, and the layers of nested networks by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

BEHIND = "_behind_pixel_range"
"""How the name of a network ends that is a network of the user's behind layers of ours."""
_SHOWN = 40  # names of layers in a message


def single_output(model: keras.Model) -> Any:
    """The symbolic tensor that a classifier gives.

    Raises
    ------
    ValueError
        If the model is not sequential or functional, not built, or has several outputs.
    """
    import keras

    try:
        (output,) = model.outputs
        fits = isinstance(output, keras.KerasTensor) and len(model.layers) > 0
    except (AttributeError, ValueError, TypeError):
        fits = False
    if not fits:
        raise ValueError(
            "model: expected a built sequential or functional classifier with one output, got "
            f"{type(model).__name__} {getattr(model, 'name', '')!r}"
        )
    return output


@dataclass(frozen=True, eq=False)
class Place:
    """A tensor of a network, maybe of one nested in it.

    Attributes
    ----------
    name : str
        Of the operation that gives the tensor, with those of the networks around it, such as
        ``base/dense``.
    operation : keras.Operation
        A layer, or an operation that is none, such as a division.
    tensor : KerasTensor
    taken_in : list of KerasTensor
        What the operation takes in.
    model : keras.Model
        The innermost network that they belong to.
    before : callable or None
        From images to what `model` takes in; None if it takes in the images.
    """

    name: str
    operation: Any
    tensor: Any
    taken_in: list
    model: keras.Model
    before: Callable[..., Any] | None

    def function(self, tensors: Any, training: bool = False) -> Callable[..., Any]:
        """From images to the values of tensors of the innermost network."""
        import keras

        part, before = keras.Model(_one(self.model.inputs), _one(tensors)), self.before

        def values(images: Any, training: bool = training) -> Any:
            return part(before(images, training) if before else images, training=training)

        return values


def tail(
    model: keras.Model, before: Callable[..., Any] | None = None, prefix: str = ""
) -> Iterator[Place]:
    """The operations at a network's end, the last first, back to where several come together.

    Those of nested networks take the place of these. Names of layers play no part, nor their place
    in ``model.layers``.

    Yields
    ------
    Place
    """
    yield from _back(model, single_output(model), before, prefix)


def _back(
    model: keras.Model, tensor: Any, before: Callable[..., Any] | None, prefix: str
) -> Iterator[Place]:
    import keras

    while True:
        operation, taken_in, index = _source(tensor)
        if not taken_in:  # the images, or what this network takes in
            return
        place = Place(prefix + operation.name, operation, tensor, taken_in, model, before)
        if isinstance(operation, keras.Model):
            inner = operation.outputs[index]
            yield from _back(operation, inner, place.function(taken_in), f"{place.name}/")
        else:
            yield place
        if len(taken_in) != 1:
            return
        tensor = taken_in[0]


def places(
    model: keras.Model, before: Callable[..., Any] | None = None, prefix: str = ""
) -> dict[str, Place]:
    """All layers of a network and of those nested in it, by name, first to last.

    Where layers of ours are in front of a network, they are not among them, and its layers keep
    the names that they have in the user's file.
    """
    import keras

    found: dict[str, Place] = {}
    if model.name.endswith(BEHIND):
        tensor, own, taken_in = _in_order(model)[-1]
        if isinstance(own, keras.Model):
            place = Place(prefix + own.name, own, tensor, taken_in, model, before)
            return places(own, place.function(taken_in), prefix)
    for tensor, operation, taken_in in _in_order(model):
        if not isinstance(operation, keras.Layer):
            continue
        place = Place(prefix + operation.name, operation, tensor, taken_in, model, before)
        if place.name in found:  # used again
            continue
        found[place.name] = place
        if isinstance(operation, keras.Model):
            found |= places(operation, place.function(taken_in), f"{place.name}/")
    return found


def _in_order(model: keras.Model) -> list[tuple[Any, Any, list]]:
    """The tensors of a network's graph, with what gives them, each after those it is made from."""
    order, pending, seen = [], [(tensor, False) for tensor in model.outputs], set()
    while pending:
        tensor, made = pending.pop()
        operation, taken_in, _ = _source(tensor)
        if made:
            order.append((tensor, operation, taken_in))
        elif id(tensor) not in seen and taken_in:
            seen.add(id(tensor))
            pending.append((tensor, True))
            pending += [(part, False) for part in reversed(taken_in)]
    return order


def _one(tensors: Any) -> Any:
    """The only tensor of a list: Keras gives back what is asked for in the form it is asked for."""
    return tensors[0] if isinstance(tensors, list) and len(tensors) == 1 else tensors


def _source(tensor: Any) -> tuple[Any, list, int]:
    """The operation that gives a symbolic tensor, what it takes in, and which output it is.

    Keras has no public way to ask a tensor, and an operation's `input` is that of its first use.
    """
    operation, node, index = tensor._keras_history
    return operation, list(operation._inbound_nodes[node].input_tensors), index


def core(operation: Any) -> Any:
    """The layer that a wrapper, such as `SpectralNormalization`, is around; else the operation.

    A wrapper shows nothing of what its layer does at the end, such as its activation.
    """
    import keras

    while isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    return operation


def layers_within(layer: Any) -> list:
    """A layer and all layers in it: those of nested networks, wrappers and the like.

    Only networks have `layers` that are public: those in a wrapper or the like would be missed.
    """
    return list(layer._flatten_layers(include_self=True, recursive=True))


def layer_names(names: list[str] | dict[str, Any]) -> str:
    """Names of layers for a message; of very many the middle is left out."""
    names = list(names)
    if len(names) > _SHOWN:
        half = _SHOWN // 2
        names = [*names[:half], f"… ({len(names) - 2 * half} more) …", *names[-half:]]
    return ", ".join(names)
