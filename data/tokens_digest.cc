#include "data/tokens_digest.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

constexpr int64_t kBlocks = 4096;
constexpr int64_t kBlockBytes = int64_t{64} << 10;
constexpr int64_t kBlocksAhead = 64;  // asked for while one is waited for
constexpr size_t kPieceBytes = size_t{16} << 20;  // of what is read whole
// Counted up when the same pair gets another digest.
constexpr int64_t kForm = 1;
constexpr int64_t kMaxStoredBytes = 4096;

template <typename T>
absl::string_view BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// Where block `index` of a .bin of `size` bytes begins: anywhere in its part.
int64_t BlockBegin(int64_t index, int64_t size) {
  const int64_t part = size / kBlocks;
  const int64_t room = part - kBlockBytes + 1;
  const std::array<int64_t, 2> name = {size, index};
  const uint64_t drawn = Digest(BytesOf(name));
  return index * part +
         static_cast<int64_t>(drawn % static_cast<uint64_t>(room));
}

// Tells the system what is read next of a mapped file. Without a word it would
// read megabytes around every page that is touched.
void Advise(absl::string_view bytes, int advice) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t first = begin / page * page;
  madvise(reinterpret_cast<void*>(first), begin - first + bytes.size(), advice);
}

std::string Describe(absl::string_view name, const FileIdentity& file) {
  return absl::StrCat(name, ": bytes ", file.bytes, " inode ", file.inode,
                      " modified ", file.modified, " changed ", file.changed,
                      "\n");
}

std::string Describe(const PairIdentity& pair) {
  return absl::StrCat("tokens digest ", kForm, "\n", Describe("idx", pair.idx),
                      Describe("bin", pair.bin));
}

struct Stored {
  std::string of;  // Describe
  uint64_t xxh3 = 0;
};

// Nothing where no such file can be read whole.
std::optional<Stored> ReadStored(FileSystem& files, const std::string& path) {
  if (path.empty()) return std::nullopt;
  const auto text = files.ReadFile(path, kMaxStoredBytes);
  const size_t last_line = DigestLine("").size();
  if (!text.ok() || text->size() < last_line) return std::nullopt;
  absl::string_view body(*text);
  body.remove_suffix(last_line);
  if (*text != absl::StrCat(body, DigestLine(body))) return std::nullopt;
  const size_t at = body.rfind("xxh3: ");
  if (at == body.npos) return std::nullopt;
  Stored stored{.of = std::string(body.substr(0, at))};
  absl::string_view digits = body.substr(at);
  absl::ConsumePrefix(&digits, "xxh3: ");
  absl::ConsumeSuffix(&digits, "\n");
  if (!absl::SimpleHexAtoi(digits, &stored.xxh3)) return std::nullopt;
  return stored;
}

// Digest of a mapped file, of which the disk reads the next piece meanwhile.
uint64_t DigestOfAll(absl::string_view bytes) {
  StreamingDigest digest;
  for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    if (bytes.size() - at > kPieceBytes)
      Advise(bytes.substr(at + kPieceBytes, kPieceBytes), MADV_WILLNEED);
    digest.Add(bytes.substr(at, kPieceBytes));
  }
  return digest.Value();
}

}  // namespace

uint64_t DigestOfBin(absl::string_view bin) {
  const auto size = static_cast<int64_t>(bin.size());
  if (size <= kWholeDigestBytes) return DigestOfAll(bin);
  const auto block = [&](int64_t index) {
    return bin.substr(static_cast<size_t>(BlockBegin(index, size)),
                      static_cast<size_t>(kBlockBytes));
  };
  Advise(bin, MADV_RANDOM);
  for (int64_t i = 0; i < kBlocksAhead; ++i) Advise(block(i), MADV_WILLNEED);
  StreamingDigest digest;
  for (int64_t i = 0; i < kBlocks; ++i) {
    if (i + kBlocksAhead < kBlocks)
      Advise(block(i + kBlocksAhead), MADV_WILLNEED);
    digest.Add(block(i));
  }
  return digest.Value();
}

TokensDigest CombineDigests(int64_t idx_bytes, uint64_t idx, int64_t bin_bytes,
                            uint64_t bin) {
  const std::array<int64_t, 3> sizes = {kForm, idx_bytes, bin_bytes};
  const std::array<uint64_t, 2> digests = {idx, bin};
  const std::array<absl::string_view, 2> pieces = {BytesOf(sizes),
                                                   BytesOf(digests)};
  return {.idx_bytes = idx_bytes,
          .bin_bytes = bin_bytes,
          .xxh3 = Digest(absl::MakeConstSpan(pieces))};
}

absl::StatusOr<TokensDigest> ReadTokensDigest(FileSystem& files,
                                              const std::string& prefix) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> idx,
                   files.Map(absl::StrCat(prefix, ".idx")));
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> bin,
                   files.Map(absl::StrCat(prefix, ".bin")));
  return CombineDigests(
      static_cast<int64_t>(idx->bytes().size()), Digest(idx->bytes()),
      static_cast<int64_t>(bin->bytes().size()), DigestOfBin(bin->bytes()));
}

std::string DigestPath(const std::string& prefix) {
  return absl::StrCat(prefix, ".digest");
}

absl::StatusOr<PairIdentity> IdentifyPair(FileSystem& files,
                                          const std::string& prefix) {
  PairIdentity pair;
  ASSIGN_OR_RETURN(pair.idx, files.Identify(absl::StrCat(prefix, ".idx")));
  ASSIGN_OR_RETURN(pair.bin, files.Identify(absl::StrCat(prefix, ".bin")));
  return pair;
}

absl::Status StoreTokensDigest(FileSystem& files, const std::string& path,
                               const PairIdentity& pair,
                               const TokensDigest& digest) {
  const std::string text =
      absl::StrCat(Describe(pair), "xxh3: ", DigestText(digest.xxh3), "\n");
  return WriteFileAtomically(files, path, absl::StrCat(text, DigestLine(text)));
}

absl::StatusOr<TokensDigest> FindTokensDigest(FileSystem& files,
                                              const std::string& prefix,
                                              const DigestCache& cache) {
  ASSIGN_OR_RETURN(const PairIdentity pair, IdentifyPair(files, prefix));
  for (const std::string& path : {DigestPath(prefix), cache.path}) {
    const std::optional<Stored> stored = ReadStored(files, path);
    if (!stored.has_value() || stored->of != Describe(pair)) continue;
    return TokensDigest{.idx_bytes = pair.idx.bytes,
                        .bin_bytes = pair.bin.bytes,
                        .xxh3 = stored->xxh3};
  }
  ASSIGN_OR_RETURN(const TokensDigest digest, ReadTokensDigest(files, prefix));
  if (cache.store && !cache.path.empty())
    RETURN_IF_ERROR(StoreTokensDigest(files, cache.path, pair, digest));
  return digest;
}

bool IsAsDigested(FileSystem& files, const std::string& prefix) {
  const std::optional<Stored> stored = ReadStored(files, DigestPath(prefix));
  const auto pair = IdentifyPair(files, prefix);
  if (!stored.has_value() || !pair.ok()) return false;
  if (stored->of == Describe(*pair)) return true;
  const auto digest = ReadTokensDigest(files, prefix);
  if (!digest.ok() || digest->xxh3 != stored->xxh3) return false;
  // The next look is quick again, if the disk lets it.
  StoreTokensDigest(files, DigestPath(prefix), *pair, *digest).IgnoreError();
  return true;
}

}  // namespace moe
