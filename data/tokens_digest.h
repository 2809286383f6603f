#ifndef DATA_TOKENS_DIGEST_H_
#define DATA_TOKENS_DIGEST_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/storage/digest.h"
#include "data/storage/file_system.h"

namespace moe {

// What a .bin/.idx pair holds, whatever its name and place are. `xxh3` covers
// both sizes, all of .idx, and of .bin what DigestOfBin covers.
struct TokensDigest {
  int64_t idx_bytes = 0;
  int64_t bin_bytes = 0;
  uint64_t xxh3 = 0;

  friend bool operator==(const TokensDigest&, const TokensDigest&) = default;
};

// A .bin of up to 4 GiB counts whole. Of a larger one 4,096 blocks of 64 KiB
// count, one in each 4,096th part, so that of a terabyte 256 MiB are read. Part
// i of `size` bytes begins at i * (size / 4096), and its block so many bytes
// later as XXH3 of (size, i), two int64s, leaves on division by
// size / 4096 - 65535. A change that is shorter than two parts may pass, if it
// changes no length of a sequence: one edited token likely does.
inline constexpr int64_t kWholeDigestBytes = int64_t{4} << 30;
uint64_t DigestOfBin(absl::string_view bin);

// `idx` and `bin`: digests of all of .idx and by DigestOfBin.
TokensDigest CombineDigests(int64_t idx_bytes, uint64_t idx, int64_t bin_bytes,
                            uint64_t bin);

// Reads the pair. Errors of FileSystem.
absl::StatusOr<TokensDigest> ReadTokensDigest(FileSystem& files,
                                              const std::string& prefix);

// PREFIX.digest: where those who write a pair store its digest.
std::string DigestPath(const std::string& prefix);

// A text file with a pair's digest and which files it was made of: inodes,
// sizes and times of change. Call with the pair's identity of before its bytes
// were read; errors of WriteFileAtomically.
struct PairIdentity {
  FileIdentity idx;
  FileIdentity bin;
};
absl::StatusOr<PairIdentity> IdentifyPair(FileSystem& files,
                                          const std::string& prefix);
absl::Status StoreTokensDigest(FileSystem& files, const std::string& path,
                               const PairIdentity& pair,
                               const TokensDigest& digest);

// Where digests are that are not beside their pair.
struct DigestCache {
  std::string path;    // empty: there is none
  bool store = false;  // whether what had to be read is stored there
};
// The digest of a pair: the one in PREFIX.digest or in the file cache.path,
// where that was made of these very files, else read. A damaged file of a
// digest counts as none.
absl::StatusOr<TokensDigest> FindTokensDigest(FileSystem& files,
                                              const std::string& prefix,
                                              const DigestCache& cache);

// Whether a pair of ours still holds what it held when PREFIX.digest was
// written, by its bytes where the files are others by now; that is then written
// into PREFIX.digest. False too where there is no such file, or no such pair.
bool IsAsDigested(FileSystem& files, const std::string& prefix);

}  // namespace moe

#endif  // DATA_TOKENS_DIGEST_H_
