"""A tiny, randomly initialised encoder and a bundle with it: real files of every kind, made in seconds."""

from __future__ import annotations

from pathlib import Path

WORDS = """
i was the in and to of a that it my we not what had know never learnt learn training shame ashamed anger believe always
others same plan maybe try tried first time sure confident now who am home supervision policy colleague team lecture
role play train bus tea weather monday lost nothing made sense before anyone why should expert decide question asked
felt
"""


def make_encoder(folder: Path, *, seed: int = 0) -> Path:
    """A BERT of 2 layers and 32 features with a word-piece tokenizer, in Hugging Face layout."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,?!'-")
    vocabulary = list(dict.fromkeys([*special, *letters, *("##" + c for c in letters), *WORDS.split()]))
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    folder.mkdir(parents=True, exist_ok=True)
    BertModel(config, add_pooling_layer=False).save_pretrained(str(folder))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(str(folder))
    return folder


def make_bundle(folder: Path, encoder: Path, *, seed: int = 0) -> Path:
    """A bundle over `encoder` with random heads for the shipped codebook; its codes mean nothing but differ by text."""
    import torch
    from transformers import AutoTokenizer

    from tl_classifier.codebook import Codebook
    from tl_classifier.decoding import Decoding
    from tl_classifier.preprocessing import Preprocessor
    from training.export import export_network, finish_bundle
    from training.model import ExcerptModel

    torch.manual_seed(seed)
    codebook = Codebook.default()
    tokenizer = AutoTokenizer.from_pretrained(str(encoder))
    model = ExcerptModel.from_pretrained(str(encoder), codebook, separator=tokenizer.sep_token_id)
    with torch.no_grad():
        for head in model.heads.values():
            head.weight.mul_(8)
    export_network(model, tokenizer, folder)
    decoding = Decoding.uncalibrated(codebook)
    manifest = {
        "name": "tiny",
        "version": f"0.{seed}",
        "pad_id": tokenizer.pad_token_id,
    }
    settings = {"version": 1, "max_tokens": 64, "overlap": 16, "context_tokens": 16}
    preprocessor = Preprocessor.from_file(folder / "tokenizer.json", settings)
    finish_bundle(folder, model=model, preprocessor=preprocessor, decoding=decoding, manifest=manifest, card="# tiny\n")
    return folder
