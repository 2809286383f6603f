#ifndef COMM_BASE_PHILOX_H_
#define COMM_BASE_PHILOX_H_

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace moe {

// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel
// random numbers: as easy as 1, 2, 3" (SC 2011): the block of four numbers at
// `counter` is a pure function of (key, counter), so any rank computes any
// slice of a sequence alone.
class Philox {
 public:
  explicit Philox(uint64_t key) : key_(key) {}
  // Keyed by a seed and a global name (XXH3 of the name with the seed).
  Philox(uint64_t seed, absl::string_view name);

  std::array<uint32_t, 4> Block(uint64_t counter, uint64_t stream = 0) const;

  // Element `index` of an endless sequence of uniform numbers in [0, 1) with
  // 53 random bits.
  double Uniform(uint64_t index) const;

  // out[i] = mean 0, deviation `deviation` normal number at element begin + i
  // (Box-Muller in double; element e is lane e % 4 of block e / 4).
  void FillNormal(uint64_t begin, float deviation, absl::Span<float> out) const;

 private:
  uint64_t key_;
};

// A bijection of [0, size) keyed by `key`: a Feistel network of Philox rounds
// with cycle walking. No table: any position is computed alone.
class KeyedPermutation {
 public:
  KeyedPermutation(uint64_t key, uint64_t size);
  uint64_t operator()(uint64_t index) const;  // index < size
  uint64_t size() const { return size_; }

 private:
  uint64_t EncryptOnce(uint64_t index) const;

  Philox philox_;
  uint64_t size_;
  int half_bits_;
};

}  // namespace moe

#endif  // COMM_BASE_PHILOX_H_
