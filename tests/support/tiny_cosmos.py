"""The source files of a tiny model with the interface of nvidia/Cosmos-Embed1, by name."""

CODE = {
    "configuration_embed1.py": '''
        """Tiny stand-in for Cosmos-Embed1: its configuration."""

        from transformers import PretrainedConfig


        class TinyEmbed1Config(PretrainedConfig):
            model_type = "tiny-embed1"
            embed_dim: int = 16
            num_video_frames: int = 8
            resolution: int = 28
            vocab_size: int = 1
        ''',
    "modeling_embed1.py": '''
        """Tiny stand-in for Cosmos-Embed1: frames or token ids -> unit vectors in one space."""

        from dataclasses import dataclass

        import torch
        from torch import nn
        from torch.nn import functional as F
        from transformers import PreTrainedModel
        from transformers.utils import ModelOutput

        from .configuration_embed1 import TinyEmbed1Config


        @dataclass
        class VideoOutput(ModelOutput):
            visual_proj: torch.FloatTensor | None = None


        @dataclass
        class TextOutput(ModelOutput):
            text_proj: torch.FloatTensor | None = None


        class TinyEmbed1(PreTrainedModel):
            config_class = TinyEmbed1Config
            main_input_name = "videos"

            def __init__(self, config):
                super().__init__(config)
                self.logit_scale = nn.Parameter(torch.tensor(2.0))
                self.video = nn.Linear(3 * 7 * 7, config.embed_dim, bias=False)
                self.when = nn.Embedding(config.num_video_frames, config.embed_dim)
                self.text = nn.Embedding(config.vocab_size, config.embed_dim)
                self.post_init()

            def get_video_embeddings(self, videos):
                """B x C x T x H x W, normalized -> visual_proj, B x embed_dim, of length 1."""
                batch, _, frames = videos.shape[:3]
                small = F.avg_pool3d(videos, (1, videos.shape[3] // 7, videos.shape[4] // 7)).transpose(1, 2)
                each = self.video(small.reshape(batch, frames, -1))
                pooled = (each * (1 + self.when.weight[:frames])).mean(dim=1)
                return VideoOutput(visual_proj=F.normalize(pooled, dim=-1))

            def get_text_embeddings(self, input_ids, attention_mask):
                """B x L -> text_proj, B x embed_dim, of length 1."""
                mask = attention_mask.unsqueeze(-1).to(self.text.weight.dtype)
                return TextOutput(text_proj=F.normalize((self.text(input_ids) * mask).sum(dim=1), dim=-1))
        ''',
    "processing_embed1.py": '''
        """Tiny stand-in for Cosmos-Embed1: videos of bytes, B x T x C x H x W, or texts -> what the model takes."""

        import numpy as np
        import torch
        from torch.nn import functional as F
        from transformers import BatchFeature
        from transformers.processing_utils import ProcessorMixin

        MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


        class TinyEmbed1Processor(ProcessorMixin):
            attributes = ["tokenizer"]
            tokenizer_class = "AutoTokenizer"

            def __init__(self, tokenizer=None, num_video_frames=8, resolution=28, **kwargs):
                super().__init__(tokenizer)
                self.num_video_frames, self.resolution = num_video_frames, resolution

            def __call__(self, text=None, videos=None, return_tensors="pt", **kwargs):
                if (text is None) == (videos is None):
                    raise ValueError("give either text or videos")
                return self._texts(text) if videos is None else self._videos(videos)

            def _texts(self, text):
                texts = [text] if isinstance(text, str) else list(text)
                return self.tokenizer(texts, padding="max_length", max_length=32, truncation=True, return_tensors="pt")

            def _videos(self, videos):
                given = torch.as_tensor(np.asarray(videos))
                if given.ndim != 5 or given.shape[1] != self.num_video_frames or given.dtype != torch.uint8:
                    raise ValueError(f"B x {self.num_video_frames} x 3 x H x W bytes, not {given.dtype} {given.shape}")
                pixels = given.flatten(0, 1).float() / 255
                pixels = F.interpolate(pixels, size=(self.resolution, self.resolution), mode="bilinear", antialias=True)
                pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
                shaped = pixels.view(*given.shape[:2], *pixels.shape[1:]).transpose(1, 2)
                return BatchFeature({"videos": shaped})
        ''',
}
