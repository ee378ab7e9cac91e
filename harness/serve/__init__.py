"""A fitted router as an OpenAI-compatible endpoint: `polyswe serve`. Needs the extra `serve`."""
