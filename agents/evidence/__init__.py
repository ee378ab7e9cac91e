"""Evidence on finished attempts: tests are written, collected and run in fresh containers, never hidden ones."""
