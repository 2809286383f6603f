#include "trainer/run/data_identity.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "comm/base/counted.h"
#include "comm/base/status_macros.h"
#include "data/corpus_source.h"
#include "data/storage/digest.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/manifest.h"

namespace moe {
namespace {

using StoredSources =
    google::protobuf::RepeatedPtrField<CheckpointManifest::Tokens>;

constexpr int64_t kMaxTokenizerBytes = int64_t{1} << 30;

// What the manifest says of the checkpoint's tokenizer; null: it has none.
const CheckpointManifest::File* FindTokenizer(
    const CheckpointManifest& manifest) {
  for (const CheckpointManifest::File& file : manifest.file())
    if (file.name() == kTokenizerFile) return &file;
  return nullptr;
}

TokensDigest FromManifest(const CheckpointManifest::Tokens& stored) {
  return {.idx_bytes = stored.idx_bytes(),
          .bin_bytes = stored.bin_bytes(),
          .xxh3 = stored.xxh3()};
}

std::string Describe(const TokensDigest& digest) {
  return absl::StrCat(DigestText(digest.xxh3), " (", digest.bin_bytes,
                      " bytes of tokens, ", digest.idx_bytes, " of index)");
}

absl::Status CheckSameBlend(absl::string_view key, const DataBlend& blend,
                            const std::vector<TokensDigest>& now,
                            const StoredSources& stored,
                            const std::string& checkpoint) {
  if (static_cast<int>(now.size()) != stored.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        key, " has ", Counted(static_cast<int64_t>(now.size()), "source"),
        ", had ", stored.size(), " when ", checkpoint,
        " was written: a run that goes on cannot change its data"));
  }
  for (size_t i = 0; i < now.size(); ++i) {
    const int index = static_cast<int>(i);
    const TokensDigest before = FromManifest(stored[index]);
    if (now[i] == before) continue;
    const auto other = std::find_if(
        stored.begin(), stored.end(),
        [&](const auto& source) { return FromManifest(source) == now[i]; });
    return absl::InvalidArgumentError(absl::StrCat(
        key, ": ", blend.source(index).path(), " holds other tokens than when ",
        checkpoint, " was written: digest ", Describe(now[i]), ", was ",
        Describe(before),
        other == stored.end()
            ? ""
            : absl::StrCat(", and is that of source ", other - stored.begin(),
                           " of then, counted from 0"),
        ": a run that goes on cannot change its data"));
  }
  return absl::OkStatus();
}

}  // namespace

void DescribeData(const DataIdentity& identity, CheckpointManifest& manifest) {
  const auto add = [](const TokensDigest& digest,
                      CheckpointManifest::Tokens& stored) {
    stored.set_bin_bytes(digest.bin_bytes);
    stored.set_idx_bytes(digest.idx_bytes);
    stored.set_xxh3(digest.xxh3);
  };
  for (const TokensDigest& digest : identity.digest.train)
    add(digest, *manifest.add_train());
  for (const TokensDigest& digest : identity.digest.valid)
    add(digest, *manifest.add_valid());
  manifest.set_valid_split(identity.split == SplitRule::kTokens
                               ? CheckpointManifest::TOKENS
                               : CheckpointManifest::DOCUMENTS);
}

void TakeFromCheckpoint(const FoundCheckpoint& checkpoint,
                        CorpusOptions& options) {
  const CheckpointManifest& manifest = checkpoint.manifest;
  if (FindTokenizer(manifest) != nullptr)
    options.tokenizer_path = JoinPath(checkpoint.path, kTokenizerFile);
  options.split = manifest.valid_split() == CheckpointManifest::TOKENS
                      ? SplitRule::kTokens
                      : SplitRule::kDocuments;
}

absl::Status CheckSameTokenizer(const FoundCheckpoint& checkpoint,
                                const CorpusOptions& options,
                                FileSystem& files) {
  const CheckpointManifest::File* stored = FindTokenizer(checkpoint.manifest);
  const std::string& name = options.config.tokenizer();
  if (stored == nullptr && name.empty()) {
    ASSIGN_OR_RETURN(const CorpusSources sources, FindSources(options));
    if (!sources.trains_tokenizer) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        sources.TextPaths().front(), " is text, but ", checkpoint.path,
        " was trained on tokens and has no tokenizer: a run that goes on "
        "learns none"));
  }
  if (stored == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.tokenizer is ", name, ", but ", checkpoint.path,
                     " has no tokenizer: a run that goes on cannot change it"));
  }
  const std::string path = FullDataPath(name, options.share_directory);
  if (name.empty() || !files.Exists(path)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string model,
                   files.ReadFile(path, kMaxTokenizerBytes));
  if (Digest(model) == stored->xxh3()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "data.tokenizer is ", path, " with digest ", DigestText(Digest(model)),
      ", must have ", DigestText(stored->xxh3()), ", that of ",
      JoinPath(checkpoint.path, kTokenizerFile),
      ": a run that goes on cannot change it"));
}

absl::Status CheckSameTokens(const FoundCheckpoint& checkpoint,
                             const CorpusOptions& options,
                             const CorpusDigest& digest, const Corpus& corpus) {
  const CheckpointManifest& manifest = checkpoint.manifest;
  if (manifest.train_size() > 0) {
    RETURN_IF_ERROR(CheckSameBlend("data.train", options.config.train(),
                                   digest.train, manifest.train(),
                                   checkpoint.path));
    RETURN_IF_ERROR(CheckSameBlend("data.valid", options.config.valid(),
                                   digest.valid, manifest.valid(),
                                   checkpoint.path));
  }
  const int64_t samples = corpus.train().samples_per_epoch();
  if (manifest.samples_per_epoch() == samples) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("data.train holds ", Counted(samples, "sequence"), ", had ",
                   manifest.samples_per_epoch(), " when ", checkpoint.path,
                   " was written: a run that goes on cannot change its data"));
}

std::vector<std::string> WhatIsOlder(const FoundCheckpoint& checkpoint,
                                     const CorpusOptions& options,
                                     const Corpus& corpus) {
  std::vector<std::string> lines;
  if (checkpoint.manifest.train_size() == 0) {
    lines.push_back(absl::StrCat(
        "warning: ", checkpoint.path,
        " has no digest of its data: they were compared by name and number of "
        "sequences alone; the next checkpoint gets one"));
  }
  if (options.split == SplitRule::kDocuments && !corpus.held_out().empty()) {
    lines.push_back(absl::StrCat(
        "note: data.valid_fraction (", options.config.valid_fraction(),
        ") is a share of the number of documents, as it was when this run "
        "began; in a new run it is a share of the tokens"));
  }
  return lines;
}

}  // namespace moe
