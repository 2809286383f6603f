#ifndef DATA_STORAGE_DIGEST_H_
#define DATA_STORAGE_DIGEST_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace moe {

// XXH3, 64 bits, of bytes, and of several pieces as if they were one.
uint64_t Digest(absl::string_view bytes);
uint64_t Digest(absl::Span<const absl::string_view> pieces);

// The same of bytes that come piece by piece.
class StreamingDigest {
 public:
  StreamingDigest();
  ~StreamingDigest();
  StreamingDigest(StreamingDigest&&) noexcept;
  StreamingDigest& operator=(StreamingDigest&&) noexcept;

  void Add(absl::string_view bytes);
  uint64_t Value() const;  // of all so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// 16 hexadecimal digits.
std::string DigestText(uint64_t digest);

// The last line of a text file that must be known again: a comment with the
// digest of all before it.
std::string DigestLine(absl::string_view text);

}  // namespace moe

#endif  // DATA_STORAGE_DIGEST_H_
