"""The encoder of a bundle behind LitServe, as its documentation shows it; run in the peers' environment.

python benchmarks/litserve_app.py MODEL PORT
"""

import sys
from collections.abc import Sequence
from typing import Any

import litserve
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class Codes(litserve.LitAPI):
    """One text in, a probability for each code out; texts of several requests go through the network together."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
        self.model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).to(device).eval()

    def decode_request(self, request):  # no types: LitServe makes the form of the body of them
        """The text."""
        return str(request["text"])

    def predict(self, x: Sequence[str]) -> Any:
        """Probabilities of a batch."""
        tokens = self.tokenizer(list(x), padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            return self.model(**tokens).logits.sigmoid().tolist()

    def encode_response(self, output: Any) -> Any:
        """The answer."""
        return {"probabilities": output}


if __name__ == "__main__":
    api = Codes(max_batch_size=32, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu").run(port=int(sys.argv[2]), log_level="error", generate_client_file=False)
