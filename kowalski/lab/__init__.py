"""The lab: pages for astronomers and operators, made by the API from what its services know."""
