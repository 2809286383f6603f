#include "comm/base/philox.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "comm/base/check.h"

namespace moe {
namespace {

// Constants of Salmon et al. (2011), table 2 and section 4.3: the multipliers,
// and the Weyl sequence that schedules the key.
constexpr uint32_t kMultiplier0 = 0xD2511F53;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;
constexpr uint32_t kWeyl1 = 0xBB67AE85;
constexpr int kPhiloxRounds = 10;

// A Feistel network of four rounds is a strong pseudo-random permutation if
// its round function is one (Luby and Rackoff, 1988); two more for small
// domains.
constexpr int kFeistelRounds = 6;

uint32_t Low(uint64_t x) { return static_cast<uint32_t>(x); }
uint32_t High(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

// Four standard normal numbers from a block, a pair from each pair of lanes
// (Box and Muller, 1958).
std::array<double, 4> NormalsOf(const std::array<uint32_t, 4>& block) {
  constexpr double kUnit = 0x1p-32;
  std::array<double, 4> normals;
  for (size_t pair = 0; pair < 4; pair += 2) {
    // In (0, 1), so that the logarithm is finite.
    const double u = (block[pair] + 0.5) * kUnit;
    const double angle = 2.0 * std::numbers::pi * block[pair + 1] * kUnit;
    const double radius = std::sqrt(-2.0 * std::log(u));
    normals[pair] = radius * std::cos(angle);
    normals[pair + 1] = radius * std::sin(angle);
  }
  return normals;
}

}  // namespace

Philox::Philox(uint64_t seed, absl::string_view name)
    : key_(XXH3_64bits_withSeed(name.data(), name.size(), seed)) {}

std::array<uint32_t, 4> Philox::Block(uint64_t counter, uint64_t stream) const {
  std::array<uint32_t, 4> x = {Low(counter), High(counter), Low(stream),
                               High(stream)};
  uint32_t key0 = Low(key_);
  uint32_t key1 = High(key_);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * x[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * x[2];
    x = {High(product1) ^ x[1] ^ key0, Low(product1),
         High(product0) ^ x[3] ^ key1, Low(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return x;
}

double Philox::Uniform(uint64_t index) const {
  const std::array<uint32_t, 4> block = Block(index / 2);
  const size_t lane = index % 2 * 2;
  const uint64_t bits = uint64_t{block[lane]} << 32 | block[lane + 1];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

void Philox::FillNormal(uint64_t begin, float deviation,
                        absl::Span<float> out) const {
  const uint64_t end = begin + out.size();
  for (uint64_t element = begin; element < end;) {
    const std::array<double, 4> normals = NormalsOf(Block(element / 4));
    const uint64_t block_end = std::min(end, element / 4 * 4 + 4);
    for (; element < block_end; ++element)
      out[element - begin] =
          static_cast<float>(normals[element % 4] * deviation);
  }
}

KeyedPermutation::KeyedPermutation(uint64_t key, uint64_t size)
    : philox_(key), size_(size) {
  // The network permutes 2^(2 * half_bits) numbers, fewer than 4 * size.
  const int bits = static_cast<int>(std::bit_width(size > 1 ? size - 1 : 1));
  half_bits_ = (bits + 1) / 2;
}

uint64_t KeyedPermutation::operator()(uint64_t index) const {
  CHECK(index < size_);
  // Walks along the cycle of the larger permutation until it is back inside
  // [0, size): a bijection of [0, size), since cycles are closed.
  do {
    index = EncryptOnce(index);
  } while (index >= size_);
  return index;
}

uint64_t KeyedPermutation::EncryptOnce(uint64_t index) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = index >> half_bits_;
  uint64_t right = index & mask;
  for (uint64_t round = 0; round < kFeistelRounds; ++round) {
    const uint64_t mixed = left ^ (philox_.Block(right, round)[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

}  // namespace moe
