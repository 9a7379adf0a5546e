package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/manifest/manifestlist"
	"github.com/distribution/distribution/v3/manifest/ocischema"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/middleware/repository"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// BuildKit before 0.21 keeps its cache as an index whose members are layers. distribution 3 refuses
// such an index, because it looks for members among the manifests only. To switch its check off
// would let in every index that lacks a member: one whose members a garbage collection has just
// taken, for example. So this middleware checks in its place, and takes a member that is a blob of
// the repository as well as one that is a manifest of it.
//
// It also refuses a manifest that distribution takes by its Content-Type and reads otherwise once it
// is stored, where only the content counts: such a manifest cannot be pulled, and a garbage
// collection of the whole registry ends at it. And it names a client's mistakes to which distribution
// answers 500, as to a broken disk.
const membersName = "index-members"

func init() {
	if err := middleware.Register(membersName, withMembers); err != nil {
		panic(err)
	}
}

func withMembers(_ context.Context, repository distribution.Repository, _ map[string]any) (distribution.Repository, error) {
	return membersRepository{repository}, nil
}

type membersRepository struct{ distribution.Repository }

func (r membersRepository) Manifests(ctx context.Context, options ...distribution.ManifestServiceOption) (distribution.ManifestService, error) {
	manifests, err := r.Repository.Manifests(ctx, options...)
	if err != nil {
		return nil, err
	}
	unchecked, err := r.Repository.Manifests(ctx, append(options, storage.SkipLayerVerification())...)
	if err != nil {
		return nil, err
	}
	return membersService{manifests, unchecked, r.Blobs(ctx)}, nil
}

// membersService stores an index through `unchecked` once it has checked it, everything else as
// distribution does.
type membersService struct {
	distribution.ManifestService
	unchecked distribution.ManifestService
	blobs     distribution.BlobStatter
}

func (s membersService) Put(ctx context.Context, manifest distribution.Manifest, options ...distribution.ManifestServiceOption) (digest.Digest, error) {
	if err := readsBack(manifest); err != nil {
		return "", errcode.ErrorCodeManifestInvalid.WithDetail(err.Error())
	}
	if err := wellFormed(manifest); err != nil {
		return "", errcode.ErrorCodeManifestInvalid.WithDetail(err.Error())
	}
	switch manifest.(type) {
	case *ocischema.DeserializedImageIndex, *manifestlist.DeserializedManifestList:
		if err := s.check(ctx, manifest); err != nil {
			return "", err
		}
		return s.unchecked.Put(ctx, manifest, options...)
	}
	stored, err := s.ManifestService.Put(ctx, manifest, options...)
	var failed distribution.ErrManifestVerification
	if errors.As(err, &failed) {
		for _, one := range failed {
			if one.Error() == invalidURL {
				return "", errcode.ErrorCodeManifestInvalid.WithDetail(invalidURL)
			}
		}
	}
	return stored, err
}

// The words of an error that distribution does not export, for a foreign layer's address that is
// none or is not allowed.
const invalidURL = "invalid URL on layer"

// wellFormed returns an error where schemaVersion is not 2 or a digest is malformed: distribution
// stores no such manifest either.
func wellFormed(manifest distribution.Manifest) error {
	_, content, err := manifest.Payload()
	if err != nil {
		return err
	}
	var versioned specs.Versioned
	if err := json.Unmarshal(content, &versioned); err != nil {
		return err
	}
	if versioned.SchemaVersion != 2 {
		return fmt.Errorf("its schemaVersion is %d and not 2", versioned.SchemaVersion)
	}
	for at, member := range manifest.References() {
		if err := member.Digest.Validate(); err != nil {
			return fmt.Errorf("its reference %d has no digest that can be read: %w", at+1, err)
		}
	}
	return nil
}

// check returns distribution's own error where the repository lacks a member.
func (s membersService) check(ctx context.Context, index distribution.Manifest) error {
	var missing distribution.ErrManifestVerification
	for _, member := range index.References() {
		found, err := s.exists(ctx, member.Digest)
		if err != nil {
			return err
		}
		if !found {
			missing = append(missing, distribution.ErrManifestBlobUnknown{Digest: member.Digest})
		}
	}
	if len(missing) != 0 {
		return missing
	}
	return nil
}

func (s membersService) exists(ctx context.Context, member digest.Digest) (bool, error) {
	found, err := s.ManifestService.Exists(ctx, member)
	if found || err != nil {
		return found, err
	}
	_, err = s.blobs.Stat(ctx, member)
	if errors.Is(err, distribution.ErrBlobUnknown) {
		return false, nil
	}
	return err == nil, err
}

// readsBack returns an error where a manifest without a mediaType is not what distribution takes it
// for when it is read again: an index where it has `manifests`, an image otherwise.
func readsBack(manifest distribution.Manifest) error {
	_, content, err := manifest.Payload()
	if err != nil {
		return err
	}
	var versioned struct {
		specs.Versioned
		MediaType string `json:"mediaType,omitempty"`
	}
	if err := json.Unmarshal(content, &versioned); err != nil {
		return err
	}
	if versioned.MediaType != "" {
		return nil
	}
	var index ocischema.ImageIndex
	if err := json.Unmarshal(content, &index); err != nil {
		return err
	}
	_, pushedAsIndex := manifest.(*ocischema.DeserializedImageIndex)
	if isIndex := index.Manifests != nil; isIndex != pushedAsIndex {
		return fmt.Errorf("it has no mediaType, and its Content-Type says something else than its field manifests: give it the mediaType %s or %s",
			v1.MediaTypeImageManifest, v1.MediaTypeImageIndex)
	}
	return nil
}
