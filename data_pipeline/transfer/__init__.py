"""HOW do rows come in and go out? Frames, Arrow and COPY, with exact types."""
