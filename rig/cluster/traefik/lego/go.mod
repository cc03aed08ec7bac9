// In the place of lego's own go.mod: without the DNS providers it needs nothing that Traefik doesn't name.
module github.com/go-acme/lego/v5

go 1.26.0
