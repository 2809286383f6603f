#ifndef DATA_TOKEN_CACHE_H_
#define DATA_TOKEN_CACHE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/storage/file_system.h"
#include "data/text/tokenizer.h"

namespace moe {

// Where the vocabulary learned from text files lies: its name has the files'
// names, sizes and times of change and the vocabulary's size in it.
absl::StatusOr<std::string> CachedTokenizerPath(
    const std::string& cache_directory, const std::vector<std::string>& texts,
    int vocab_size);

// The tokens of one text file, for one tokenizer, in a cache directory:
//
//   NAME.bin, NAME.idx   the tokens, and their digest in NAME.digest
//   NAME.made_from       name, size and time of change of the text, the digest
//                        of the tokenizer, the text's inode; written last,
//                        taken away first
//
// NAME is made of the text's name and the tokenizer's digest, so a text that
// changed takes the place of what it was before.
class TokenCache {
 public:
  // NotFound and the like: the text cannot be read.
  static absl::StatusOr<TokenCache> For(const std::string& cache_directory,
                                        const std::string& text_path,
                                        const Tokenizer& tokenizer);

  const std::string& prefix() const { return prefix_; }
  // Whether it is there and made of the text and tokenizer of now, by size and
  // time: what all nodes see alike. Nothing but names is looked at.
  bool IsThere(FileSystem& files) const;
  // Also by the text's inode, and whether its tokens are what was written.
  bool IsWhole(FileSystem& files) const;
  // Call before the tokens are written, and after.
  absl::Status Invalidate(FileSystem& files) const;
  absl::Status Validate(FileSystem& files) const;

 private:
  TokenCache() = default;

  absl::StatusOr<std::string> MadeFrom(FileSystem& files) const;

  std::string prefix_;
  std::string made_from_;   // what all nodes see alike
  std::string text_inode_;  // what this node sees
};

}  // namespace moe

#endif  // DATA_TOKEN_CACHE_H_
