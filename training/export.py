"""A trained model to a bundle."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tl_classifier.bundle import write_manifest
from tl_classifier.decoding import Decoding
from tl_classifier.preprocessing import Preprocessor
from tl_classifier.runtimes.openvino import import_openvino
from training.model import ExcerptModel


def export_network(model: ExcerptModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the network's files: the encoder in Hugging Face layout, the heads, and the graph that OpenVINO compiles.

    The model's weights are rounded to half precision, in place and on disk, so that what is evaluated afterwards is
    what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.to("cpu").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    tokenizer.save_pretrained(str(folder))
    model.encoder.config.save_pretrained(str(folder))
    _save_half(dict(model.encoder.state_dict()), folder / "model.safetensors")
    _save_half(dict(model.heads.state_dict()), folder / "heads.safetensors")
    _write_graph(model, folder)


def _save_half(tensors: Mapping[str, Tensor], path: Path) -> None:
    half = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous() for name, tensor in tensors.items()
    }
    save_file(half, str(path), metadata={"format": "pt"})
    path.chmod(0o644)  # the library makes files that nobody else may read


def load_weights(model: ExcerptModel, folder: Path) -> None:
    """Fill `model` with the weights of a bundle whose heads it shares."""
    model.encoder.load_state_dict(load_file(str(folder / "model.safetensors")), strict=False)
    model.heads.load_state_dict(load_file(str(folder / "heads.safetensors")))
    model.float()


class _Graph(nn.Module):
    """What is traced: windows to logits."""

    def __init__(self, model: ExcerptModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model.window_logits(input_ids, attention_mask)


def _write_graph(model: ExcerptModel, folder: Path) -> None:
    """Write ``graph.xml`` and ``constants.bin`` (see `tl_classifier.runtimes.openvino`)."""
    ov = import_openvino()
    example = torch.ones((2, 8), dtype=torch.long)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns of shapes that are fixed on purpose
        graph = ov.convert_model(
            _Graph(model),
            example_input={"input_ids": example, "attention_mask": example},
            input=[("input_ids", [-1, -1], np.int64), ("attention_mask", [-1, -1], np.int64)],
        )
    graph.output(0).set_names({"logits"})
    whole = folder / "whole.xml"
    ov.save_model(graph, str(whole), compress_to_fp16=True)
    _share_weights(whole, folder)
    whole.unlink()
    whole.with_suffix(".bin").unlink()


def _share_weights(whole: Path, folder: Path) -> None:
    """Point the graph's constants into ``model.safetensors`` where their bytes are there; the rest is written apart."""
    stored = (folder / "model.safetensors").read_bytes()
    # The format: 8 bytes with the header's length, the header in JSON, the tensors' bytes.
    header = 8 + int.from_bytes(stored[:8], "little")
    spans = [entry["data_offsets"] for name, entry in json.loads(stored[8:header]).items() if name != "__metadata__"]
    places = {stored[header + start : header + end]: header + start for start, end in spans}
    constants = bytearray()
    tree = ElementTree.parse(whole)
    block = whole.with_suffix(".bin").read_bytes()
    for data in tree.iter("data"):
        if data.get("offset") is None:
            continue
        value = block[int(data.attrib["offset"]) : int(data.attrib["offset"]) + int(data.attrib["size"])]
        if value not in places:
            constants += bytes(-(len(stored) + len(constants)) % 64)  # aligned, as OpenVINO writes them
            places[value] = len(stored) + len(constants)
            constants += value
        data.set("offset", str(places[value]))
    for rt_info in tree.getroot().findall("rt_info"):
        tree.getroot().remove(rt_info)  # how and where it was converted
    (folder / "constants.bin").write_bytes(constants)
    tree.write(folder / "graph.xml")


def finish_bundle(
    folder: Path,
    *,
    model: ExcerptModel,
    preprocessor: Preprocessor,
    decoding: Decoding,
    manifest: Mapping[str, Any],
    card: str,
) -> None:
    """Write what surrounds the network, and last the manifest, without which a folder is no bundle."""
    model.codebook.save(folder / "codebook.yaml")
    for name, content in (("preprocessing.json", preprocessor.settings), ("decoding.json", decoding.to_dict())):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    (folder / "README.md").write_text(card, "utf-8")
    write_manifest(folder, manifest)


def replace_folder(new: Path, target: Path) -> None:
    """Put a finished folder in the place of `target`; an old one is gone only when the new one stands."""
    if not target.exists():
        new.replace(target)
        return
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    target.replace(old)
    new.replace(target)
    shutil.rmtree(old)
