#include "data/token_cache.h"

#include <filesystem>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "data/storage/digest.h"
#include "data/tokens_digest.h"

namespace moe {
namespace {

// Counted up when documents or tokens of the same text would come out
// differently, so that older caches are made anew.
constexpr int kForm = 1;

// Name, size and time of change of a file, as lines of text.
std::string Describe(const std::string& path, const FileIdentity& file) {
  return absl::StrCat("text: \"", absl::CEscape(path),
                      "\"\nbytes: ", file.bytes, "\nmodified: ", file.modified,
                      "\n");
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
    ASSIGN_OR_RETURN(const FileIdentity file, PosixFileSystem().Identify(text));
    absl::StrAppend(&all, Describe(text, file));
  }
  return JoinPath(cache_directory,
                  absl::StrCat("tokenizer-", vocab_size, "-",
                               DigestText(Digest(all)), ".model"));
}

absl::StatusOr<TokenCache> TokenCache::For(const std::string& cache_directory,
                                           const std::string& text_path,
                                           const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const FileIdentity text,
                   PosixFileSystem().Identify(text_path));
  const std::string tokenizer_digest =
      DigestText(Digest(tokenizer.model_bytes()));
  TokenCache cache;
  cache.prefix_ = JoinPath(
      cache_directory,
      absl::StrCat(
          Stem(text_path), "-",
          DigestText(Digest(absl::StrCat(text_path, "\n", tokenizer_digest)))));
  cache.made_from_ =
      absl::StrCat(Describe(text_path, text), "tokenizer: ", tokenizer_digest,
                   "\nform: ", kForm, "\n");
  cache.text_inode_ =
      absl::StrCat("inode: ", text.inode, "\nchanged: ", text.changed, "\n");
  return cache;
}

absl::StatusOr<std::string> TokenCache::MadeFrom(FileSystem& files) const {
  return files.ReadFile(absl::StrCat(prefix_, ".made_from"), 1 << 16);
}

bool TokenCache::IsThere(FileSystem& files) const {
  const auto made_from = MadeFrom(files);
  return made_from.ok() && absl::StartsWith(*made_from, made_from_) &&
         files.Exists(absl::StrCat(prefix_, ".idx")) &&
         files.Exists(absl::StrCat(prefix_, ".bin")) &&
         files.Exists(DigestPath(prefix_));
}

bool TokenCache::IsWhole(FileSystem& files) const {
  const auto made_from = MadeFrom(files);
  return made_from.ok() &&
         *made_from == absl::StrCat(made_from_, text_inode_) &&
         IsAsDigested(files, prefix_);
}

absl::Status TokenCache::Invalidate(FileSystem& files) const {
  return files.Remove(absl::StrCat(prefix_, ".made_from"));
}

absl::Status TokenCache::Validate(FileSystem& files) const {
  return WriteFileAtomically(files, absl::StrCat(prefix_, ".made_from"),
                             absl::StrCat(made_from_, text_inode_));
}

}  // namespace moe
