"""The contracts: small abstract classes that built-ins and plugins alike implement. Nothing here computes."""
