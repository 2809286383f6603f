#ifndef DATA_TOKEN_TYPE_H_
#define DATA_TOKEN_TYPE_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace moe {

// How tokens are stored, by the code that stands in an .idx file. Floating
// point (6 and 7 in Megatron) is nothing that a token can be.
enum class TokenType : uint8_t {
  kUint8 = 1,
  kInt8 = 2,
  kInt16 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kUint16 = 8,
};

// Calls `function` with a zero of the type that `type` stores.
template <typename Function>
auto DispatchTokenType(TokenType type, Function function) {
  switch (type) {
    case TokenType::kUint8:
      return function(uint8_t{0});
    case TokenType::kInt8:
      return function(int8_t{0});
    case TokenType::kInt16:
      return function(int16_t{0});
    case TokenType::kInt64:
      return function(int64_t{0});
    case TokenType::kUint16:
      return function(uint16_t{0});
    case TokenType::kInt32:
      break;
  }
  return function(int32_t{0});
}

inline int64_t TokenBytes(TokenType type) {
  return DispatchTokenType(
      type, [](auto zero) { return static_cast<int64_t>(sizeof(zero)); });
}

inline absl::string_view TokenTypeName(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
      return "uint8";
    case TokenType::kInt8:
      return "int8";
    case TokenType::kInt16:
      return "int16";
    case TokenType::kInt32:
      return "int32";
    case TokenType::kInt64:
      return "int64";
    case TokenType::kUint16:
      return "uint16";
  }
  return "unknown";
}

// What Megatron's writer chooses for a vocabulary.
inline TokenType TokenTypeFor(int vocab_size) {
  return vocab_size < 65500 ? TokenType::kUint16 : TokenType::kInt32;
}

}  // namespace moe

#endif  // DATA_TOKEN_TYPE_H_
