"""Why a Service leads nowhere, said on the Service itself."""
