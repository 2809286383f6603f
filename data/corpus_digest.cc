#include "data/corpus_digest.h"

#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "data/corpus_source.h"
#include "data/storage/digest.h"
#include "data/storage/file_system.h"

namespace moe {
namespace {

// Where the digest of another's pair is kept: never beside it.
std::string CachePath(const std::string& directory, const std::string& prefix) {
  const std::string name = std::filesystem::path(prefix).filename().string();
  return JoinPath(directory, absl::StrCat(name, "-", DigestText(Digest(prefix)),
                                          ".digest"));
}

}  // namespace

absl::StatusOr<CorpusDigest> DigestCorpus(const CorpusOptions& options,
                                          bool store) {
  FileSystem& files = PosixFileSystem();
  ASSIGN_OR_RETURN(const CorpusSources sources, FindSources(options));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   LoadCorpusTokenizer(sources, options));
  if (store) RETURN_IF_ERROR(files.MakeDirectories(options.cache_directory));
  const auto digest_all = [&](const std::vector<CorpusSource>& all,
                              std::vector<TokensDigest>& out) -> absl::Status {
    for (const CorpusSource& source : all) {
      ASSIGN_OR_RETURN(const std::string prefix,
                       TokensPrefix(source, options, tokenizer.get()));
      ASSIGN_OR_RETURN(
          const TokensDigest digest,
          FindTokensDigest(files, prefix,
                           {.path = CachePath(options.cache_directory, prefix),
                            .store = store}));
      out.push_back(digest);
    }
    return absl::OkStatus();
  };
  CorpusDigest digest;
  RETURN_IF_ERROR(digest_all(sources.train, digest.train));
  RETURN_IF_ERROR(digest_all(sources.valid, digest.valid));
  return digest;
}

}  // namespace moe
