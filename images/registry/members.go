package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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
// such an index, because it looks for members only among the manifests. Without distribution's check,
// an index could be stored although a garbage collection has just removed its members. So this
// middleware checks instead: a member must be a manifest or a blob of the repository.
//
// It also refuses a manifest whose Content-Type and content disagree. distribution would store it by
// its Content-Type and later read it by its content: it could not be pulled, and a garbage collection
// of the whole registry would end at it. And it answers 400 to mistakes of a client to which
// distribution answers 500, as if a disk were broken.
//
// The option `sparse` names repositories in which an index may lack members: mirrors that keep only
// some platforms of an image, under the index's own digest.
const membersName = "index-members"

func init() {
	if err := middleware.Register(membersName, withMembers); err != nil {
		panic(err)
	}
}

func withMembers(_ context.Context, repository distribution.Repository, options map[string]any) (distribution.Repository, error) {
	sparse := false
	if names, given := options["sparse"].([]any); given {
		sparse = slices.Contains(names, any(repository.Named().Name()))
	}
	return membersRepository{repository, sparse}, nil
}

type membersRepository struct {
	distribution.Repository
	sparse bool
}

func (r membersRepository) Manifests(ctx context.Context, options ...distribution.ManifestServiceOption) (distribution.ManifestService, error) {
	manifests, err := r.Repository.Manifests(ctx, options...)
	if err != nil {
		return nil, err
	}
	unchecked, err := r.Repository.Manifests(ctx, append(options, storage.SkipLayerVerification())...)
	if err != nil {
		return nil, err
	}
	return membersService{manifests, unchecked, r.Blobs(ctx), r.sparse}, nil
}

// membersService checks an index itself and then stores it through `unchecked`. It stores everything
// else as distribution does.
type membersService struct {
	distribution.ManifestService
	unchecked distribution.ManifestService
	blobs     distribution.BlobStatter
	sparse    bool
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
		if !s.sparse {
			if err := s.check(ctx, manifest); err != nil {
				return "", err
			}
		}
		return s.unchecked.Put(ctx, manifest, options...)
	}
	stored, err := s.ManifestService.Put(ctx, manifest, options...)
	var failed distribution.ErrManifestVerification
	if errors.As(err, &failed) {
		for _, failure := range failed {
			if failure.Error() == invalidURL {
				return "", errcode.ErrorCodeManifestInvalid.WithDetail(invalidURL)
			}
		}
	}
	return stored, err
}

// The text of an error that distribution does not export: the address of a foreign layer is malformed
// or not allowed.
const invalidURL = "invalid URL on layer"

// wellFormed returns an error if schemaVersion is not 2 or a digest is malformed. distribution does
// not store such a manifest either.
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
	for index, member := range manifest.References() {
		if err := member.Digest.Validate(); err != nil {
			return fmt.Errorf("the digest of its reference %d is malformed: %w", index+1, err)
		}
	}
	return nil
}

// check returns distribution's own error if the repository lacks a member.
func (s membersService) check(ctx context.Context, index distribution.Manifest) error {
	var missing distribution.ErrManifestVerification
	for _, member := range index.References() {
		exists, err := s.exists(ctx, member.Digest)
		if err != nil {
			return err
		}
		if !exists {
			missing = append(missing, distribution.ErrManifestBlobUnknown{Digest: member.Digest})
		}
	}
	if len(missing) != 0 {
		return missing
	}
	return nil
}

func (s membersService) exists(ctx context.Context, member digest.Digest) (bool, error) {
	isManifest, err := s.ManifestService.Exists(ctx, member)
	if isManifest || err != nil {
		return isManifest, err
	}
	_, err = s.blobs.Stat(ctx, member)
	if errors.Is(err, distribution.ErrBlobUnknown) {
		return false, nil
	}
	return err == nil, err
}

// readsBack returns an error if distribution would read a stored manifest as another kind than it was
// pushed as. Without a mediaType, distribution reads content with `manifests` as an index and other
// content as an image.
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
		return fmt.Errorf("it has no mediaType, and its Content-Type contradicts its field manifests: give it the mediaType %s or %s",
			v1.MediaTypeImageManifest, v1.MediaTypeImageIndex)
	}
	return nil
}
