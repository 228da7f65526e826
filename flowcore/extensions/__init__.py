"""What extends the core and isn't needed by it."""

from flowcore.extensions.tool_output_trimmer import ToolOutputTrimmer

__all__ = ["ToolOutputTrimmer"]
