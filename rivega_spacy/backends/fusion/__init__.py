"""Text and picture in one representation: picture encoders, and cross-modal attention between words and regions."""
