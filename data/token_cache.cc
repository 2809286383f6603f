#include "data/token_cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "comm/status_macros.h"

namespace moe {
namespace {

// Counted up when documents or tokens of the same text would come out
// differently, so that older caches are made anew.
constexpr int kForm = 1;

std::string Digest(absl::string_view bytes) {
  return absl::StrCat(
      absl::Hex(XXH3_64bits(bytes.data(), bytes.size()), absl::kZeroPad16));
}

// Name, size and time of change of a file, as lines of text.
absl::StatusOr<std::string> Describe(const std::string& path) {
  ASSIGN_OR_RETURN(const int64_t bytes, PosixFileSystem().FileSize(path));
  std::error_code error;
  const auto time = std::filesystem::last_write_time(path, error);
  if (error) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot read the time of change of ", path, ": ", error.message()));
  }
  const int64_t nanoseconds =
      std::chrono::duration_cast<std::chrono::nanoseconds>(
          time.time_since_epoch())
          .count();
  return absl::StrCat("text: \"", absl::CEscape(path), "\"\nbytes: ", bytes,
                      "\nmodified: ", nanoseconds, "\n");
}

std::string Stem(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

}  // namespace

absl::StatusOr<std::string> CachedTokenizerPath(
    const std::string& cache_directory, const std::vector<std::string>& texts,
    int vocab_size) {
  std::string all = absl::StrCat("form: ", kForm, "\n");
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(const std::string description, Describe(text));
    absl::StrAppend(&all, description);
  }
  return JoinPath(cache_directory, absl::StrCat("tokenizer-", vocab_size, "-",
                                                Digest(all), ".model"));
}

absl::StatusOr<TokenCache> TokenCache::For(const std::string& cache_directory,
                                           const std::string& text_path,
                                           const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const std::string description, Describe(text_path));
  const std::string tokenizer_digest = Digest(tokenizer.model_bytes());
  TokenCache cache;
  cache.prefix_ = JoinPath(
      cache_directory,
      absl::StrCat(Stem(text_path), "-",
                   Digest(absl::StrCat(text_path, "\n", tokenizer_digest))));
  cache.made_from_ = absl::StrCat(description, "tokenizer: ", tokenizer_digest,
                                  "\nform: ", kForm, "\n");
  return cache;
}

bool TokenCache::IsFresh(FileSystem& files) const {
  const auto made_from =
      files.ReadFile(absl::StrCat(prefix_, ".made_from"), 1 << 16);
  return made_from.ok() && *made_from == made_from_ &&
         files.Exists(absl::StrCat(prefix_, ".idx")) &&
         files.Exists(absl::StrCat(prefix_, ".bin"));
}

absl::Status TokenCache::Invalidate(FileSystem& files) const {
  return files.Remove(absl::StrCat(prefix_, ".made_from"));
}

absl::Status TokenCache::Validate(FileSystem& files) const {
  return WriteFileAtomically(files, absl::StrCat(prefix_, ".made_from"),
                             made_from_);
}

}  // namespace moe
