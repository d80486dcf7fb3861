"""What is shown: the only Gradio code. Start from `build.build`."""
