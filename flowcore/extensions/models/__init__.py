"""Models of other providers, under the names that code written for the OpenAI Agents SDK imports."""
