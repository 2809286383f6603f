#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <array>
#include <limits>

#include "absl/strings/ascii.h"

namespace moe {
namespace {

constexpr char kByteText[] = "\0\x01\x7f\x80\xff\"\\{}[]<>:,|=- \n09e.";
// Without the zero at the end, with the one at the beginning.
constexpr absl::string_view kBytes(kByteText, sizeof(kByteText) - 1);

constexpr std::array<uint64_t, 12> kNumbers = {
    0,
    1,
    2,
    0x7f,
    0xff,
    0xffff,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    uint64_t{1} << 61,
    uint64_t{1} << 63,
    std::numeric_limits<uint64_t>::max(),
};

constexpr std::array<absl::string_view, 12> kDecimals = {
    "0",
    "-1",
    "00",
    "1e400",
    "0.5",
    "-0",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999999",
};

bool IsDigit(char c) {
  return absl::ascii_isdigit(static_cast<unsigned char>(c));
}

}  // namespace

std::string Mutator::Next() {
  std::string bytes = seeds_[Below(seeds_.size())];
  for (size_t changes = 1 + Below(4); changes > 0; --changes) Change(bytes);
  return bytes;
}

void Mutator::Change(std::string& bytes) {
  if (bytes.empty()) return InsertByte(bytes);
  switch (Below(9)) {
    case 0:
      return FlipBit(bytes);
    case 1:
      return ReplaceByte(bytes);
    case 2:
      return ReplaceBinaryNumber(bytes);
    case 3:
      return ReplaceDecimalNumber(bytes);
    case 4:
      return InsertByte(bytes);
    case 5:
      return DoubleRange(bytes);
    case 6:
      return EraseRange(bytes);
    case 7:
      return Truncate(bytes);
    default:
      return JoinWithAnother(bytes);
  }
}

void Mutator::FlipBit(std::string& bytes) {
  const size_t bit = Below(8 * bytes.size());
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
}

void Mutator::ReplaceByte(std::string& bytes) {
  bytes[Below(bytes.size())] = kBytes[Below(kBytes.size())];
}

// Little-endian, of 1, 2, 4 or 8 bytes, at any address.
void Mutator::ReplaceBinaryNumber(std::string& bytes) {
  const uint64_t number = kNumbers[Below(kNumbers.size())];
  const size_t begin = Below(bytes.size());
  const size_t size = std::min(bytes.size() - begin, size_t{1} << Below(4));
  for (size_t i = 0; i < size; ++i)
    bytes[begin + i] = static_cast<char>(number >> (8 * i));
}

// The digits around some place, or before it.
void Mutator::ReplaceDecimalNumber(std::string& bytes) {
  size_t begin = Below(bytes.size()) + 1;
  while (begin > 0 && !IsDigit(bytes[begin - 1])) --begin;
  size_t end = begin;
  while (end < bytes.size() && IsDigit(bytes[end])) ++end;
  while (begin > 0 && IsDigit(bytes[begin - 1])) --begin;
  const absl::string_view number = kDecimals[Below(kDecimals.size())];
  bytes.replace(begin, end - begin, number.data(), number.size());
}

void Mutator::InsertByte(std::string& bytes) {
  bytes.insert(Below(bytes.size() + 1), 1, kBytes[Below(kBytes.size())]);
}

void Mutator::DoubleRange(std::string& bytes) {
  const size_t begin = Below(bytes.size());
  const size_t size = 1 + Below(bytes.size() - begin);
  bytes.insert(begin, bytes.substr(begin, size));
}

void Mutator::EraseRange(std::string& bytes) {
  const size_t begin = Below(bytes.size());
  bytes.erase(begin, 1 + Below(bytes.size() - begin));
}

void Mutator::Truncate(std::string& bytes) {
  bytes.resize(Below(bytes.size()));
}

void Mutator::JoinWithAnother(std::string& bytes) {
  const std::string& other = seeds_[Below(seeds_.size())];
  bytes.resize(Below(bytes.size() + 1));
  bytes += other.substr(Below(other.size() + 1));
}

}  // namespace moe
