"""Whether people can still talk to each other: somebody who tries it, the way they do, all day."""
