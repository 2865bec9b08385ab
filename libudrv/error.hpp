// SPDX-License-Identifier: MIT
//
// Errors are for people: "what was tried: what went wrong; what to do next".
#pragma once

#include <string>
#include <string_view>
#include <system_error>

namespace udrv {

/// A failure at set-up. what() is the whole sentence, without a trailing errno
/// text; code() is for programs.
class Error : public std::system_error {
  public:
    Error(std::error_code code, std::string text) : system_error(code), text_(std::move(text)) {}
    [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

  private:
    std::string text_;
};

/// "tried: problem; advice". `advice` may be empty.
[[nodiscard]] inline std::string error_text(std::string_view tried, std::string_view problem,
                                            std::string_view advice = {}) {
    std::string text;
    text.append(tried).append(": ").append(problem);
    if (!advice.empty()) {
        text.append("; ").append(advice);
    }
    return text;
}

/// Throws Error with the given errno value and words of our own for it.
[[noreturn]] inline void throw_error(int error, std::string_view tried, std::string_view problem,
                                     std::string_view advice = {}) {
    throw Error(std::error_code(error, std::system_category()), error_text(tried, problem, advice));
}

/// Throws Error with the given errno value and the system's words for it.
[[noreturn]] inline void throw_errno(int error, std::string_view tried,
                                     std::string_view advice = {}) {
    const std::error_code code(error, std::system_category());
    throw Error(code, error_text(tried, code.message(), advice));
}

} // namespace udrv
