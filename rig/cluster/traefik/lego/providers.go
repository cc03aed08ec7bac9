// Package dns stands in for the list of lego's 190 DNS providers, whose libraries are most of Traefik and cannot all be had. Nobody
// here asks for a certificate.
package dns

import (
	"fmt"

	"github.com/go-acme/lego/v5/challenge"
)

// NewDNSChallengeProviderByName knows none.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("this build has no DNS provider: %s", name)
}
